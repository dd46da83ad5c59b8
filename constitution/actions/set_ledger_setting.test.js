const setting = { ledger: "ours", key: "a.b" };
refuses("set_ledger_setting", { ...setting, key: "" }, /has a name/);
refuses("set_ledger_setting", { ...setting, value: 1 }, /must be a text/);
carries("set_ledger_setting", { ...setting, value: "x" });
equal(readRow(LEDGER_SETTINGS, textKey("ours:a.b")), { value: "x" });
carries("set_ledger_setting", setting);
equal(readRow(LEDGER_SETTINGS, textKey("ours:a.b")), undefined);
