from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from promgrpc.metrics.v1 import metrics_pb2 as _metrics_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BucketStatus(_message.Message):
    __slots__ = ["error", "pending_bytes", "size_bytes", "success_time", "url"]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    error: str
    pending_bytes: int
    size_bytes: int
    success_time: _timestamp_pb2.Timestamp
    url: str
    def __init__(self, url: _Optional[str] = ..., error: _Optional[str] = ..., success_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., pending_bytes: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class CursorOutOfRange(_message.Message):
    __slots__ = ["oldest_cursor"]
    OLDEST_CURSOR_FIELD_NUMBER: _ClassVar[int]
    oldest_cursor: str
    def __init__(self, oldest_cursor: _Optional[str] = ...) -> None: ...

class End(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class Gap(_message.Message):
    __slots__ = ["after_sequence", "log_id", "next_sequence", "reason"]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    log_id: str
    next_sequence: int
    reason: str
    def __init__(self, log_id: _Optional[str] = ..., after_sequence: _Optional[int] = ..., next_sequence: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class GetLabelNamesRequest(_message.Message):
    __slots__ = ["limit", "selectors", "when_away"]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    limit: int
    selectors: _containers.RepeatedScalarFieldContainer[str]
    when_away: _metrics_pb2.WhenAway
    def __init__(self, selectors: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class GetLabelNamesResponse(_message.Message):
    __slots__ = ["names", "truncated"]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    truncated: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., truncated: bool = ...) -> None: ...

class GetLabelValuesRequest(_message.Message):
    __slots__ = ["limit", "name", "selectors", "when_away"]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    limit: int
    name: str
    selectors: _containers.RepeatedScalarFieldContainer[str]
    when_away: _metrics_pb2.WhenAway
    def __init__(self, name: _Optional[str] = ..., selectors: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class GetLabelValuesResponse(_message.Message):
    __slots__ = ["truncated", "values"]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    truncated: bool
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ..., truncated: bool = ...) -> None: ...

class GetMetadataRequest(_message.Message):
    __slots__ = ["limit", "metric_family_name", "when_away"]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    METRIC_FAMILY_NAME_FIELD_NUMBER: _ClassVar[int]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    limit: int
    metric_family_name: str
    when_away: _metrics_pb2.WhenAway
    def __init__(self, metric_family_name: _Optional[str] = ..., limit: _Optional[int] = ..., when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class GetMetadataResponse(_message.Message):
    __slots__ = ["metadata", "truncated"]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    metadata: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.MetricMetadata]
    truncated: bool
    def __init__(self, metadata: _Optional[_Iterable[_Union[_metrics_pb2.MetricMetadata, _Mapping]]] = ..., truncated: bool = ...) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ["cursor", "follow", "heartbeat_interval", "label_references", "min_interval", "reference_part", "reference_stride", "selectors", "since", "when_away"]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LABEL_REFERENCES_FIELD_NUMBER: _ClassVar[int]
    MIN_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PART_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_STRIDE_FIELD_NUMBER: _ClassVar[int]
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    follow: bool
    heartbeat_interval: _duration_pb2.Duration
    label_references: bool
    min_interval: _duration_pb2.Duration
    reference_part: int
    reference_stride: int
    selectors: _containers.RepeatedScalarFieldContainer[str]
    since: _timestamp_pb2.Timestamp
    when_away: _metrics_pb2.WhenAway
    def __init__(self, selectors: _Optional[_Iterable[str]] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cursor: _Optional[str] = ..., follow: bool = ..., min_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., label_references: bool = ..., when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ..., reference_stride: _Optional[int] = ..., reference_part: _Optional[int] = ...) -> None: ...

class GetMetricsResponse(_message.Message):
    __slots__ = ["away", "cursor", "end", "forget_references", "gap", "heartbeat", "synced", "timeseries"]
    AWAY_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    FORGET_REFERENCES_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    TIMESERIES_FIELD_NUMBER: _ClassVar[int]
    away: _metrics_pb2.Away
    cursor: str
    end: End
    forget_references: bool
    gap: Gap
    heartbeat: Heartbeat
    synced: Synced
    timeseries: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.TimeSeries]
    def __init__(self, timeseries: _Optional[_Iterable[_Union[_metrics_pb2.TimeSeries, _Mapping]]] = ..., cursor: _Optional[str] = ..., synced: _Optional[_Union[Synced, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ..., away: _Optional[_Union[_metrics_pb2.Away, _Mapping]] = ..., forget_references: bool = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ["when_away"]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    when_away: _metrics_pb2.WhenAway
    def __init__(self, when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ["bucket", "cursor", "group", "groups", "instance", "listeners", "live_series", "logs", "not_ready", "placement_version", "ready", "start_time", "streams", "upstream", "uptime", "version"]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    LIVE_SERIES_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    bucket: BucketStatus
    cursor: str
    group: str
    groups: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.GroupStatus]
    instance: str
    listeners: _containers.RepeatedCompositeFieldContainer[Listener]
    live_series: int
    logs: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.LogStatus]
    not_ready: str
    placement_version: int
    ready: bool
    start_time: _timestamp_pb2.Timestamp
    streams: int
    upstream: str
    uptime: _duration_pb2.Duration
    version: str
    def __init__(self, instance: _Optional[str] = ..., version: _Optional[str] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ready: bool = ..., cursor: _Optional[str] = ..., logs: _Optional[_Iterable[_Union[_metrics_pb2.LogStatus, _Mapping]]] = ..., live_series: _Optional[int] = ..., streams: _Optional[int] = ..., upstream: _Optional[str] = ..., uptime: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., listeners: _Optional[_Iterable[_Union[Listener, _Mapping]]] = ..., not_ready: _Optional[str] = ..., bucket: _Optional[_Union[BucketStatus, _Mapping]] = ..., groups: _Optional[_Iterable[_Union[_metrics_pb2.GroupStatus, _Mapping]]] = ..., group: _Optional[str] = ..., placement_version: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ListSegmentsRequest(_message.Message):
    __slots__ = ["when_away"]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    when_away: _metrics_pb2.WhenAway
    def __init__(self, when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class ListSegmentsResponse(_message.Message):
    __slots__ = ["segments", "truncated"]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.Segment]
    truncated: bool
    def __init__(self, segments: _Optional[_Iterable[_Union[_metrics_pb2.Segment, _Mapping]]] = ..., truncated: bool = ...) -> None: ...

class Listener(_message.Message):
    __slots__ = ["address", "client_certificates", "exposed", "name", "passwords", "policies", "tls"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    EXPOSED_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORDS_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    address: str
    client_certificates: bool
    exposed: bool
    name: str
    passwords: bool
    policies: bool
    tls: bool
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., tls: bool = ..., client_certificates: bool = ..., passwords: bool = ..., policies: bool = ..., exposed: bool = ...) -> None: ...

class LogPosition(_message.Message):
    __slots__ = ["checksum", "log_id", "sequence"]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    checksum: int
    log_id: str
    sequence: int
    def __init__(self, log_id: _Optional[str] = ..., sequence: _Optional[int] = ..., checksum: _Optional[int] = ...) -> None: ...

class ReadLogsRequest(_message.Message):
    __slots__ = ["follow", "heartbeat_interval", "log_ids", "positions", "when_away"]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LOG_IDS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    follow: bool
    heartbeat_interval: _duration_pb2.Duration
    log_ids: _containers.RepeatedScalarFieldContainer[str]
    positions: _containers.RepeatedCompositeFieldContainer[LogPosition]
    when_away: _metrics_pb2.WhenAway
    def __init__(self, positions: _Optional[_Iterable[_Union[LogPosition, _Mapping]]] = ..., follow: bool = ..., heartbeat_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., log_ids: _Optional[_Iterable[str]] = ..., when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class ReadLogsResponse(_message.Message):
    __slots__ = ["data", "end", "gap", "heartbeat", "last_sequence", "log_id", "segment"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    data: SegmentData
    end: End
    gap: Gap
    heartbeat: Heartbeat
    last_sequence: int
    log_id: str
    segment: SegmentStart
    def __init__(self, log_id: _Optional[str] = ..., last_sequence: _Optional[int] = ..., segment: _Optional[_Union[SegmentStart, _Mapping]] = ..., data: _Optional[_Union[SegmentData, _Mapping]] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ...) -> None: ...

class SegmentData(_message.Message):
    __slots__ = ["data", "offset", "partial"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    offset: int
    partial: bool
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ..., partial: bool = ...) -> None: ...

class SegmentStart(_message.Message):
    __slots__ = ["first_sequence", "name"]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    first_sequence: int
    name: str
    def __init__(self, name: _Optional[str] = ..., first_sequence: _Optional[int] = ...) -> None: ...

class StreamInterrupted(_message.Message):
    __slots__ = ["cursor", "reason"]
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    REASON_DRAINING: StreamInterrupted.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    REASON_MAX_AGE: StreamInterrupted.Reason
    REASON_UNSPECIFIED: StreamInterrupted.Reason
    cursor: str
    reason: StreamInterrupted.Reason
    def __init__(self, cursor: _Optional[str] = ..., reason: _Optional[_Union[StreamInterrupted.Reason, str]] = ...) -> None: ...

class Synced(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...
