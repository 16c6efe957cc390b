"""The decisions of the register of subjects, pure: mailboxes, residence, mapping files, holding profiles."""
