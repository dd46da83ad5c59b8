const id = ccf.pemToId(CERTIFICATE);
refuses("remove_participant", {}, /participant_id is missing/);
carries("set_participant", { cert: CERTIFICATE, participant_data: {} });
carries("remove_participant", { participant_id: id });
equal(ccf.kv[USER_CERTS].has(textKey(id)), false);
equal(ccf.kv[USER_INFO].has(textKey(id)), false);
