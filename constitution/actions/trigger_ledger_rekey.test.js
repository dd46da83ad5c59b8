refuses("trigger_ledger_rekey", { now: true }, /takes no arguments/);
carries("trigger_ledger_rekey", null);
writeRow(SERVICE_INFO, K0, { ...readRow(SERVICE_INFO, K0), status: "Recovering" });
fails("trigger_ledger_rekey", {}, /being recovered/);
writeRow(SERVICE_INFO, K0, { ...readRow(SERVICE_INFO, K0), status: "Open" });
writeRow(SERVICE_CONFIG, K0, { recovery_threshold: 1 });
fails("trigger_ledger_rekey", {}, /1 of only 0 share holders/);
