actions.set("set_attestation_anchors", {
  validate(args) {
    checkArgs(args, {
      root: is.oneOf(["amd_milan", "amd_genoa", "amd_turin", "intel", "aws_nitro", "tpm"]),
      certificates: (value, field) => Array.isArray(value) || fail(`${field} must be a list of SHA-256 digests`),
    });
    for (const digest of args.certificates) {
      if (typeof digest !== "string" || !/^[0-9a-f]{64}$/.test(digest)) fail("a certificate is named by 64 lower-case hexadecimal digits");
    }
  },
  apply({ root, certificates }, proposalId) {
    writeRow(ATTESTATION_ANCHORS, textKey(root), certificates);
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ root, certificates }) =>
    certificates.length === 0
      ? `Trust no root of ${root} any more: its nodes fail; every other open proposal is dropped`
      : `Trust as roots of ${root} exactly ${certificates.join(", ")}; every other open proposal is dropped`,
});
