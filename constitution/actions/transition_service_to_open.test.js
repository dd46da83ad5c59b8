refuses("transition_service_to_open", {}, /next_service_identity is missing/);
fails("transition_service_to_open", { next_service_identity: CERTIFICATE }, /identity of another service/);
const mine = readRow(SERVICE_INFO, K0).cert;
carries("transition_service_to_open", { next_service_identity: mine });
equal(readRow(SERVICE_INFO, K0).status, "Open");
