refuses("remove_jwt_issuer", {}, /issuer is missing/);
writeRow(JWT_ISSUERS, textKey("https://id.example"), { issuer: "https://id.example" });
carries("remove_jwt_issuer", { issuer: "https://id.example" });
equal(ccf.kv[JWT_ISSUERS].has(textKey("https://id.example")), false);
carries("remove_jwt_issuer", { issuer: "https://id.example" });
