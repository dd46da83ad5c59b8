actions.set("set_share_holders", {
  validate: (args) => checkArgs(args, { participants: is.flag }),
  apply({ participants }) {
    writeRow(SHARE_HOLDERS, K0, { participants });
    checkHoldersRemain();
    if (serviceIsOpen()) ccf.node.triggerRecoverySharesRefresh();
  },
  describe: ({ participants }) =>
    participants
      ? "Give a recovery share to every participant that has an encryption key, as to members"
      : "Give recovery shares to members only",
});

// After a change of who holds shares.
function checkHoldersRemain() {
  const threshold = readRow(SERVICE_CONFIG, K0)?.recovery_threshold ?? 0;
  const holders = activeShareHolders().length;
  if (serviceIsOpen() && holders < threshold) fail(`${holders} share holders would be left, and recovery needs ${threshold}`);
}
