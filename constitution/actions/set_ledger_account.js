actions.set("set_ledger_account", {
  validate(args) {
    checkArgs(args, { ledger: is.string, account: ledgerAccount, may: is.oneOf(["create", "send", "nothing"]) });
  },
  apply({ ledger, account, may }) {
    writeRow(LEDGER_ACCOUNTS, textKey(`${ledger}:${account}`), { may });
  },
  describe({ ledger, account, may }) {
    const who = account === "*" ? "every account that nothing else was decided about" : `the account ${account}`;
    const what = {
      create: "send transactions and create contracts",
      send: "send transactions, and create no contracts",
      nothing: "send nothing",
    }[may];
    return `On the ledger ${ledger}, let ${who} ${what}`;
  },
});

function ledgerAccount(value, field) {
  if (value !== "*" && !/^0x[0-9a-f]{40}$/.test(value)) fail(`${field} must be an address, 0x and 40 lower-case hexadecimal digits, or *`);
}
