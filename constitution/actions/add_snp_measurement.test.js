refuses("add_snp_measurement", { measurement: "ab".repeat(32) }, /96 hexadecimal/);
refuses("add_snp_measurement", {}, /measurement is missing/);
carries("add_snp_measurement", { measurement: "AB".repeat(48) });
equal(readRow(SNP_MEASUREMENTS, textKey("ab".repeat(48))), "AllowedToJoin");
