const FIRMWARE = { boot_loader: 4, tee: 0, snp: 24, microcode: 219 };
refuses("set_snp_minimum_tcb_version", { cpuid: "a00f11", tcb_version: FIRMWARE }, /8 lower-case/);
refuses("set_snp_minimum_tcb_version", { cpuid: "00a00f11", tcb_version: { ...FIRMWARE, snp: 256 } }, /snp must be a whole number/);
refuses("set_snp_minimum_tcb_version", { cpuid: "00a00f11", tcb_version: { boot_loader: 4 } }, /tee is missing/);
carries("set_snp_minimum_tcb_version", { cpuid: "00a00f11", tcb_version: FIRMWARE });
equal(readRow(SNP_TCB_VERSIONS, textKey("00a00f11")), FIRMWARE);
