const VOUCHER = "did:x509:0:sha256:AAAA::eku:1.2";
carries("add_snp_uvm_endorsement", { did: VOUCHER, feed: "one", svn: "1" });
carries("add_snp_uvm_endorsement", { did: VOUCHER, feed: "other", svn: "2" });
carries("remove_snp_uvm_endorsement", { did: VOUCHER, feed: "one" });
equal(readRow(SNP_UVM_ENDORSEMENTS, textKey(VOUCHER)), { other: { svn: "2" } });
carries("remove_snp_uvm_endorsement", { did: VOUCHER, feed: "unknown" });
carries("remove_snp_uvm_endorsement", { did: VOUCHER, feed: "other", svn: "2" });
equal(ccf.kv[SNP_UVM_ENDORSEMENTS].has(textKey(VOUCHER)), false);
