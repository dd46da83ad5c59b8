actions.set("remove_member", {
  validate: (args) => checkArgs(args, { member_id: is.id }),
  apply({ member_id }) {
    const key = textKey(member_id);
    if (!ccf.kv[MEMBER_INFO].has(key)) return;
    const holders = activeShareHolders().map(([id]) => id);
    const threshold = readRow(SERVICE_CONFIG, K0)?.recovery_threshold ?? 0;
    const holds = holders.includes(member_id);
    if (holds && holders.length - 1 < threshold) {
      fail(`${holders.length - 1} share holders would be left, and recovery needs ${threshold}`);
    }
    for (const map of [MEMBER_INFO, MEMBER_CERTS, MEMBER_KEYS, MEMBER_ACKS]) ccf.kv[map].delete(key);
    // What it knows of the present secret must not open what comes.
    if (holds && serviceIsOpen()) ccf.node.triggerLedgerRekey();
  },
  describe: ({ member_id }) => `Remove the member ${memberName(member_id)}; its votes on open proposals no longer count`,
});
