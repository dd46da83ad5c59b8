refuses("freeze_ledger", { ledger: "ethereum" }, /reason is missing/);
refuses("freeze_ledger", { ledger: "*", reason: "x" }, /ledger must be the name of a ledger/);
carries("freeze_ledger", { ledger: "ethereum", reason: "It moves to another network" });
equal(readRow(CLOSURES, textKey("ethereum")), { reason: "It moves to another network" });
