refuses("remove_ca_cert_bundle", {}, /name is missing/);
carries("set_ca_cert_bundle", { name: "issuers", cert_bundle: CERTIFICATE });
carries("remove_ca_cert_bundle", { name: "issuers" });
equal(readRow(CA_CERT_BUNDLES, textKey("issuers")), undefined);
