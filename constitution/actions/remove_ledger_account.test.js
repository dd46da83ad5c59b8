const account = { ledger: "ethereum", account: "*" };
fails("remove_ledger_account", account, /there is no decision about ethereum:\*/);
carries("set_ledger_account", { ...account, may: "nothing" });
carries("remove_ledger_account", account);
equal(readRow(LEDGER_ACCOUNTS, textKey("ethereum:*")), undefined);
