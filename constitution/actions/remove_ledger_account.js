actions.set("remove_ledger_account", {
  validate: (args) => checkArgs(args, { ledger: is.string, account: is.string }),
  apply({ ledger, account }) {
    const key = `${ledger}:${account}`;
    mustExist(LEDGER_ACCOUNTS, key, "decision about");
    ccf.kv[LEDGER_ACCOUNTS].delete(textKey(key));
  },
  describe: ({ ledger, account }) => `Take back what was decided about the account ${account} of the ledger ${ledger}`,
});
