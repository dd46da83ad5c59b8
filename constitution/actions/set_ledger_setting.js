actions.set("set_ledger_setting", {
  validate(args) {
    checkArgs(args, { ledger: is.string, key: is.string, "value?": is.string });
    if (args.key === "") fail("a setting has a name");
  },
  apply({ ledger, key, value }) {
    const row = textKey(`${ledger}:${key}`);
    if (value === undefined || value === null) ccf.kv[LEDGER_SETTINGS].delete(row);
    else writeRow(LEDGER_SETTINGS, row, { value });
  },
  describe: ({ ledger, key, value }) =>
    value === undefined || value === null
      ? `Leave the setting ${key} of the ledger ${ledger} to the ledger's own transactions`
      : `Set ${key} of the ledger ${ledger} to ${JSON.stringify(value)}, whatever the ledger's own transactions say`,
});
