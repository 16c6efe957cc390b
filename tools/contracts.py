"""An import-linter contract: rooms meet only at their doors.

A module of one room may import from another room its `actions`, `queries`, `types`, `port` or `trip`; `kernel` is open.
Source: docs/explanation/design.md section 9.
"""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output

# What the command line starts as a process of its own, or reads from a file before any room is asked.
CLI_MAY = {
    "tocsin.drills.drill",
    "tocsin.drills.postoffice",
    "tocsin.drills.report",
    "tocsin.drills.run",
    "tocsin.drills.scenario",
    "tocsin.evidence.sequencer",
    "tocsin.mail.intake",
    "tocsin.surge.params",
}
DOORS = {"actions", "queries", "types", "port", "trip"}


class DoorsContract(Contract):
    """Report each import that enters a room other than through a door."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        wrong = []
        for importer in sorted(m for m in graph.modules if m.startswith("tocsin.")):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                parts, mine = imported.split("."), importer.split(".")[1]
                if parts[0] != "tocsin" or len(parts) < 2 or parts[1] in {mine, "kernel"} or mine == "settings":
                    continue
                if mine == "cli" and imported in CLI_MAY:
                    continue
                if len(parts) < 3 or parts[2] not in DOORS:
                    wrong.append(f"{importer} -> {imported}")
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["wrong"]:
            output.print_error(line)
