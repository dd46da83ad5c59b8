actions.set("remove_ledger_family", {
  validate: (args) => checkArgs(args, { ledger: is.string, family: is.string, version: is.string }),
  apply({ ledger, family, version }) {
    const key = `${ledger}:${family}:${version}`;
    mustExist(LEDGER_FAMILIES, key, "decision about");
    ccf.kv[LEDGER_FAMILIES].delete(textKey(key));
  },
  describe: ({ ledger, family, version }) => `Take back what was decided about the family ${family} ${version} of the ledger ${ledger}`,
});
