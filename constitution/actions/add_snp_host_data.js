// The policy's text is for readers: nodes are judged by its digest.
actions.set("add_snp_host_data", {
  validate(args) {
    checkArgs(args, { host_data: is.hex(32), "security_policy?": is.string });
    const text = args.security_policy ?? "";
    if (text !== "" && hexDigest(text) !== args.host_data.toLowerCase()) fail("host_data is not the SHA-256 of security_policy");
  },
  apply({ host_data, security_policy }, proposalId) {
    writeRow(SNP_HOST_DATA, textKey(host_data.toLowerCase()), security_policy ?? "");
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ host_data, security_policy }) =>
    `Accept SEV-SNP nodes with the host data ${host_data}` +
    (security_policy ? `, the digest of the policy ${security_policy}` : "") +
    "; every other open proposal is dropped",
});
