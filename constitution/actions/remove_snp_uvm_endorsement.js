actions.set("remove_snp_uvm_endorsement", {
  validate: (args) => checkArgs(args, { did: is.string, feed: is.string, "svn?": is.string }),
  apply({ did, feed }) {
    const { [feed]: removed, ...others } = readRow(SNP_UVM_ENDORSEMENTS, textKey(did)) ?? {};
    if (Object.keys(others).length === 0) {
      ccf.kv[SNP_UVM_ENDORSEMENTS].delete(textKey(did));
    } else if (removed !== undefined) {
      writeRow(SNP_UVM_ENDORSEMENTS, textKey(did), others);
    }
  },
  describe: ({ did, feed }) => `Take the word of ${did} about the feed ${feed} no more`,
});
