carries("add_snp_host_data", { host_data: "ab".repeat(32) });
carries("remove_snp_host_data", { host_data: "AB".repeat(32) });
equal(ccf.kv[SNP_HOST_DATA].has(textKey("ab".repeat(32))), false);
