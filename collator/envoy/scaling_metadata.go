package envoy

// scalingMetadata is the metadata of routes to apps that sleep, or whose tasks fail.
const scalingMetadata = "relay.scaling"
