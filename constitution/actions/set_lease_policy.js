// A node's lease: it must renew its evidence within the period. One that does not is in quarantine after the grace: out of the consensus, and
// without the next ledger secret.
actions.set("set_lease_policy", {
  validate(args) {
    checkArgs(args, { "period_s?": is.integer(60, 366 * 24 * 3600), "grace_s?": is.integer(0, 366 * 24 * 3600) });
    if (args.period_s === undefined && args.grace_s !== undefined) fail("grace_s says nothing without period_s");
  },
  apply({ period_s, grace_s }, proposalId) {
    const { evidence_age_max_s: before, ...policy } = readRow(ATTESTATION_POLICY, textKey("network")) ?? {};
    if (period_s !== undefined) policy.evidence_age_max_s = period_s;
    if (grace_s !== undefined) policy.grace_s = grace_s;
    writeRow(ATTESTATION_POLICY, textKey("network"), policy);
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ period_s, grace_s }) =>
    (period_s === undefined
      ? "Let nodes stay however old their evidence is"
      : `Let a node stay only while its evidence is at most ${period_s} seconds old` +
        (grace_s === undefined ? "" : `, and ${grace_s} seconds more to renew it`)) + "; every other open proposal is dropped",
});
