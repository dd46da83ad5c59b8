refuses("set_snp_minimum_tcb_version_hex", { cpuid: "00a00f11", tcb_version: "db18" }, /16 hexadecimal/);
carries("set_snp_minimum_tcb_version_hex", { cpuid: "00a00f11", tcb_version: "DB18000000000004" });
equal(readRow(SNP_TCB_VERSIONS, textKey("00a00f11")), {
  boot_loader: 4, tee: 0, snp: 24, microcode: 219, hexstring: "db18000000000004",
});
carries("set_snp_minimum_tcb_version_hex", { cpuid: "00b00f21", tcb_version: "4d00000004010301" });
equal(readRow(SNP_TCB_VERSIONS, textKey("00b00f21")), {
  fmc: 1, boot_loader: 3, tee: 1, snp: 4, microcode: 77, hexstring: "4d00000004010301",
});
for (const [cpuid, hex] of [["00A00F11", "db18000000000004"], ["00a00f11", "db"], [7, "db18000000000004"], ["00a00f11", null]]) {
  try {
    ccf.tcbHexToPolicy(cpuid, hex);
  } catch (error) {
    matches(error, /TypeError: tcbHexToPolicy/);
    continue;
  }
  throw new Error(`${cpuid} and ${hex} were taken`);
}
