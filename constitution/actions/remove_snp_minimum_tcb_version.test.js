carries("set_snp_minimum_tcb_version_hex", { cpuid: "00a00f11", tcb_version: "db18000000000004" });
carries("remove_snp_minimum_tcb_version", { cpuid: "00a00f11" });
equal(ccf.kv[SNP_TCB_VERSIONS].has(textKey("00a00f11")), false);
