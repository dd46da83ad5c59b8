fails("unfreeze_ledger", { ledger: "records" }, /there is no frozen ledger records/);
carries("freeze_ledger", { ledger: "records", reason: "Audit" });
carries("unfreeze_ledger", { ledger: "records" });
equal(readRow(CLOSURES, textKey("records")), undefined);
