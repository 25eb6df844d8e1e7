// Follows a MetricsService and a QueryService: see follow, query and evaluateRules for
// what is guaranteed. The generated clients and messages are exported too.
export { follow, type Selection, type Update } from "./follow";
export { query, type Query, type Start } from "./query";
export { evaluateRules, type Rules } from "./rules";
export type { FollowOptions } from "./resume";
export { authorized, basic, bearer, type CredentialOptions } from "./credentials";
export { expressionPlace, invalidPlace, OutOfRangeError, type Place, type Range } from "./errors";
export { SuspectError } from "./suspicion";
export { isStale } from "./stale";
export * from "../gen/promgrpc/metrics/v1/metrics_pb";
export * from "../gen/promgrpc/metrics/v1/metrics_service_pb";
export * from "../gen/promgrpc/query/v1/query_service_pb";
