fails("unfreeze_ledger", { ledger: "ethereum" }, /there is no frozen ledger ethereum/);
carries("freeze_ledger", { ledger: "ethereum", reason: "Audit" });
carries("unfreeze_ledger", { ledger: "ethereum" });
equal(readRow(CLOSURES, textKey("ethereum")), undefined);
