refuses("publish_map", { map: "public:app" }, /is public already/);
refuses("publish_map", { map: "ccf.gov.coco.identities" }, /belongs to the network itself/);
carries("publish_map", { map: "records" });
equal(readRow(PUBLISHED_MAPS, textKey("records")), {});
