actions.set("add_snp_uvm_endorsement", {
  validate(args) {
    checkArgs(args, { did: is.string, feed: is.string, svn: is.string });
    if (!args.did.startsWith("did:x509:0:sha256:")) fail("did must be a did:x509 of version 0 with a SHA-256 fingerprint");
    if (!/^[0-9]{1,15}$/.test(args.svn)) fail("svn must be digits");
  },
  apply({ did, feed, svn }, proposalId) {
    writeRow(SNP_UVM_ENDORSEMENTS, textKey(did), { ...readRow(SNP_UVM_ENDORSEMENTS, textKey(did)), [feed]: { svn } });
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ did, feed, svn }) =>
    `Let ${did} vouch for utility VMs of the feed ${feed} from version ${svn} on; every other open proposal is dropped`,
});
