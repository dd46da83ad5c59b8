refuses("assert_service_identity", { service_identity: CERTIFICATE }, /another service/);
carries("assert_service_identity", { service_identity: readRow(SERVICE_INFO, K0).cert });
