const account = { ledger: "ethereum", account: "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266", may: "send" };
refuses("set_ledger_account", { ...account, account: "0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266" }, /lower-case/);
refuses("set_ledger_account", { ...account, account: "somebody" }, /must be an address/);
refuses("set_ledger_account", { ...account, may: "read" }, /may must be one of/);
carries("set_ledger_account", account);
equal(readRow(LEDGER_ACCOUNTS, textKey(`ethereum:${account.account}`)), { may: "send" });
carries("set_ledger_account", { ledger: "ethereum", account: "*", may: "nothing" });
equal(readRow(LEDGER_ACCOUNTS, textKey("ethereum:*")), { may: "nothing" });
