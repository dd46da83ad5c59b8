const OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
refuses("add_snp_host_data", { host_data: "00".repeat(32), security_policy: "abc" }, /not the SHA-256 of/);
refuses("add_snp_host_data", { security_policy: "abc" }, /host_data is missing/);
carries("add_snp_host_data", { host_data: OF_ABC.toUpperCase(), security_policy: "abc" });
carries("add_snp_host_data", { host_data: "00".repeat(32), security_policy: "" });
equal(readRow(SNP_HOST_DATA, textKey(OF_ABC)), "abc");
equal(readRow(SNP_HOST_DATA, textKey("00".repeat(32))), "");
