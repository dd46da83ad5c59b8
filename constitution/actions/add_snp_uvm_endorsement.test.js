const ENDORSER = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2";
refuses("add_snp_uvm_endorsement", { did: "x", feed: "f", svn: "1" }, /did:x509/);
refuses("add_snp_uvm_endorsement", { did: ENDORSER, feed: "f", svn: "v1" }, /svn must be digits/);
refuses("add_snp_uvm_endorsement", { did: ENDORSER, feed: "f", svn: 1 }, /svn must be a text/);
carries("add_snp_uvm_endorsement", { did: ENDORSER, feed: "one", svn: "100" });
carries("add_snp_uvm_endorsement", { did: ENDORSER, feed: "other", svn: "7" });
carries("add_snp_uvm_endorsement", { did: ENDORSER, feed: "one", svn: "101" });
equal(readRow(SNP_UVM_ENDORSEMENTS, textKey(ENDORSER)), { one: { svn: "101" }, other: { svn: "7" } });
