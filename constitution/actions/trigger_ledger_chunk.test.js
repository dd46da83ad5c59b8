refuses("trigger_ledger_chunk", { now: true }, /takes no arguments/);
carries("trigger_ledger_chunk", null);
