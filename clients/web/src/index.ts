// Follows a MetricsService: see follow for what is guaranteed. The generated
// client and messages are exported too.
export { follow, type FollowOptions, type Query, type Update } from "./follow";
export { authorized, basic, bearer, type CredentialOptions } from "./credentials";
export { invalidPlace, OutOfRangeError, type Place } from "./errors";
export { SuspectError } from "./suspicion";
export { isStale } from "./stale";
export * from "../gen/promgrpc/metrics/v1/metrics_pb";
export * from "../gen/promgrpc/metrics/v1/metrics_service_pb";
