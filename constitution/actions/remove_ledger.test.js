refuses("remove_ledger", { ledger: "records" }, /reason is missing/);
refuses("remove_ledger", { ledger: "sawtooth", reason: "nobody uses it" }, /hosts no ledger sawtooth/);
carries("remove_ledger", { ledger: "records", reason: "nobody uses it" });
equal(readRow(REMOVED_LEDGERS, textKey("records")), { reason: "nobody uses it" });
refuses("remove_ledger", { ledger: "records", reason: "again" }, /hosts no ledger records/);
refuses("freeze_ledger", { ledger: "records", reason: "audit" }, /hosts no ledger records/);
refuses("add_ledger", { ledger: "records", genesis: {} }, /cannot begin a second time/);
