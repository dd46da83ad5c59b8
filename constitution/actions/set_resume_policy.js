// How nodes may go on by themselves after no majority of them was alive: how many of their disks may have been put back to an older state.
actions.set("set_resume_policy", {
  validate(args) {
    checkArgs(args, { allowed: is.flag, "rolled_back_disks?": is.integer(0, 100) });
    if (!args.allowed && args.rolled_back_disks) fail("rolled_back_disks says nothing if resuming is not allowed");
  },
  apply: ({ allowed, rolled_back_disks }) => writeRow(RESUME_POLICY, K0, { allowed, rolled_back_disks: rolled_back_disks ?? 0 }),
  describe: ({ allowed, rolled_back_disks }) =>
    allowed
      ? `Let the nodes go on by themselves after an outage of most of them, if at most ${rolled_back_disks ?? 0} disks show an old state`
      : "Do not let the nodes go on by themselves after an outage of most of them: members recover the ledger",
});
