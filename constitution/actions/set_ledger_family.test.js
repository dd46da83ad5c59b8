const family = { ledger: "ours", family: "trade", version: "1.0", tier: "process", namespaces: ["1cf126"] };
refuses("set_ledger_family", { ...family, tier: "anywhere" }, /tier must be one of/);
refuses("set_ledger_family", { ...family, namespaces: ["1cf12"] }, /even number/);
refuses("set_ledger_family", { ...family, version: "*" }, /both be \*/);
refuses("set_ledger_family", { ...family, family: "a:b" }, /must be a name/);
carries("set_ledger_family", family);
equal(readRow(LEDGER_FAMILIES, textKey("ours:trade:1.0")), { tier: "process", namespaces: ["1cf126"] });
carries("set_ledger_family", { ledger: "ours", family: "*", version: "*", tier: "refused" });
equal(readRow(LEDGER_FAMILIES, textKey("ours:*:*")), { tier: "refused" });
