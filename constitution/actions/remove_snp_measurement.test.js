carries("add_snp_measurement", { measurement: "ab".repeat(48) });
carries("remove_snp_measurement", { measurement: "AB".repeat(48) });
equal(ccf.kv[SNP_MEASUREMENTS].has(textKey("ab".repeat(48))), false);
refuses("remove_snp_measurement", { measurement: 1 }, /96 hexadecimal/);
