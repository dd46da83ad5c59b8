refuses("rotate_service_identity", { now: true }, /takes no arguments/);
fails("rotate_service_identity", null, /only a service that is open/);
writeRow(SERVICE_INFO, K0, { ...readRow(SERVICE_INFO, K0), status: "Open" });
carries("rotate_service_identity", {});
