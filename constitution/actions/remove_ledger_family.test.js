const family = { ledger: "ours", family: "trade", version: "1.0" };
fails("remove_ledger_family", family, /there is no decision about ours:trade:1.0/);
carries("set_ledger_family", { ...family, tier: "native" });
carries("remove_ledger_family", family);
equal(readRow(LEDGER_FAMILIES, textKey("ours:trade:1.0")), undefined);
