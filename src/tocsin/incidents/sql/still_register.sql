-- Keep the register of subjects as it is until this transaction ends. Waits for nobody: fails at once while an import writes.
LOCK TABLE subjects_subject IN SHARE MODE NOWAIT
