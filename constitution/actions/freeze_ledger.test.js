refuses("freeze_ledger", { ledger: "records" }, /reason is missing/);
refuses("freeze_ledger", { ledger: "*", reason: "x" }, /ledger must be the name of a ledger/);
refuses("freeze_ledger", { ledger: "etherium", reason: "x" }, /hosts no ledger etherium/);
carries("freeze_ledger", { ledger: "records", reason: "It moves to another network" });
equal(readRow(CLOSURES, textKey("records")), { reason: "It moves to another network" });
