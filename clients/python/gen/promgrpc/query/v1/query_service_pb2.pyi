from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from promgrpc.metrics.v1 import metrics_pb2 as _metrics_pb2
from promgrpc.metrics.v1 import metrics_service_pb2 as _metrics_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Alert(_message.Message):
    __slots__ = ["active_at", "annotations", "fired_at", "generator_url", "labels", "previous", "state", "value"]
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ACTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    FIRED_AT_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_URL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIRING: Alert.State
    STATE_INACTIVE: Alert.State
    STATE_PENDING: Alert.State
    STATE_UNSPECIFIED: Alert.State
    VALUE_FIELD_NUMBER: _ClassVar[int]
    active_at: _timestamp_pb2.Timestamp
    annotations: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.Label]
    fired_at: _timestamp_pb2.Timestamp
    generator_url: str
    labels: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.Label]
    previous: Alert.State
    state: Alert.State
    value: float
    def __init__(self, labels: _Optional[_Iterable[_Union[_metrics_pb2.Label, _Mapping]]] = ..., annotations: _Optional[_Iterable[_Union[_metrics_pb2.Label, _Mapping]]] = ..., state: _Optional[_Union[Alert.State, str]] = ..., previous: _Optional[_Union[Alert.State, str]] = ..., active_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., fired_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., value: _Optional[float] = ..., generator_url: _Optional[str] = ...) -> None: ...

class Annotation(_message.Message):
    __slots__ = ["severity", "text"]
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_INFO: Annotation.Severity
    SEVERITY_UNSPECIFIED: Annotation.Severity
    SEVERITY_WARNING: Annotation.Severity
    TEXT_FIELD_NUMBER: _ClassVar[int]
    severity: Annotation.Severity
    text: str
    def __init__(self, severity: _Optional[_Union[Annotation.Severity, str]] = ..., text: _Optional[str] = ...) -> None: ...

class EvaluateRulesRequest(_message.Message):
    __slots__ = ["active", "cursor", "delay", "end", "external_labels", "external_url", "follow", "heartbeat_interval", "interval", "rules", "since", "when_away"]
    class ExternalLabelsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    DELAY_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_LABELS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_URL_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    active: bool
    cursor: str
    delay: _duration_pb2.Duration
    end: _timestamp_pb2.Timestamp
    external_labels: _containers.ScalarMap[str, str]
    external_url: str
    follow: bool
    heartbeat_interval: _duration_pb2.Duration
    interval: _duration_pb2.Duration
    rules: str
    since: _timestamp_pb2.Timestamp
    when_away: _metrics_pb2.WhenAway
    def __init__(self, rules: _Optional[str] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cursor: _Optional[str] = ..., end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., follow: bool = ..., delay: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., external_labels: _Optional[_Mapping[str, str]] = ..., external_url: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., active: bool = ..., when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class EvaluateRulesResponse(_message.Message):
    __slots__ = ["alerts", "annotations", "away", "cursor", "end", "evaluated", "failures", "group", "heartbeat", "synced", "timeseries"]
    ALERTS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    AWAY_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    TIMESERIES_FIELD_NUMBER: _ClassVar[int]
    alerts: _containers.RepeatedCompositeFieldContainer[Alert]
    annotations: _containers.RepeatedCompositeFieldContainer[Annotation]
    away: _metrics_pb2.Away
    cursor: str
    end: _metrics_service_pb2.End
    evaluated: _timestamp_pb2.Timestamp
    failures: _containers.RepeatedCompositeFieldContainer[RuleFailure]
    group: str
    heartbeat: _metrics_service_pb2.Heartbeat
    synced: _metrics_service_pb2.Synced
    timeseries: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.TimeSeries]
    def __init__(self, group: _Optional[str] = ..., timeseries: _Optional[_Iterable[_Union[_metrics_pb2.TimeSeries, _Mapping]]] = ..., alerts: _Optional[_Iterable[_Union[Alert, _Mapping]]] = ..., cursor: _Optional[str] = ..., evaluated: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., annotations: _Optional[_Iterable[_Union[Annotation, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[RuleFailure, _Mapping]]] = ..., synced: _Optional[_Union[_metrics_service_pb2.Synced, _Mapping]] = ..., heartbeat: _Optional[_Union[_metrics_service_pb2.Heartbeat, _Mapping]] = ..., end: _Optional[_Union[_metrics_service_pb2.End, _Mapping]] = ..., away: _Optional[_Union[_metrics_pb2.Away, _Mapping]] = ...) -> None: ...

class FollowTimeRequest(_message.Message):
    __slots__ = ["when_away"]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    when_away: _metrics_pb2.WhenAway
    def __init__(self, when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class FollowTimeResponse(_message.Message):
    __slots__ = ["away", "began", "lost", "time"]
    AWAY_FIELD_NUMBER: _ClassVar[int]
    BEGAN_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    away: _containers.RepeatedScalarFieldContainer[str]
    began: int
    lost: int
    time: int
    def __init__(self, time: _Optional[int] = ..., began: _Optional[int] = ..., lost: _Optional[int] = ..., away: _Optional[_Iterable[str]] = ...) -> None: ...

class InvalidExpression(_message.Message):
    __slots__ = ["end", "group", "rule", "start"]
    END_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    end: int
    group: str
    rule: str
    start: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., group: _Optional[str] = ..., rule: _Optional[str] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ["cursor", "delay", "end", "expression", "follow", "heartbeat_interval", "label_references", "lookback", "on_change", "since", "step", "when_away"]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    DELAY_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LABEL_REFERENCES_FIELD_NUMBER: _ClassVar[int]
    LOOKBACK_FIELD_NUMBER: _ClassVar[int]
    ON_CHANGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    delay: _duration_pb2.Duration
    end: _timestamp_pb2.Timestamp
    expression: str
    follow: bool
    heartbeat_interval: _duration_pb2.Duration
    label_references: bool
    lookback: _duration_pb2.Duration
    on_change: bool
    since: _timestamp_pb2.Timestamp
    step: _duration_pb2.Duration
    when_away: _metrics_pb2.WhenAway
    def __init__(self, expression: _Optional[str] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cursor: _Optional[str] = ..., end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., step: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., follow: bool = ..., delay: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., lookback: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., on_change: bool = ..., heartbeat_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., label_references: bool = ..., when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ["annotations", "away", "cursor", "end", "evaluated", "forget_references", "heartbeat", "late_samples", "synced", "timeseries"]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    AWAY_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_FIELD_NUMBER: _ClassVar[int]
    FORGET_REFERENCES_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    LATE_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    TIMESERIES_FIELD_NUMBER: _ClassVar[int]
    annotations: _containers.RepeatedCompositeFieldContainer[Annotation]
    away: _metrics_pb2.Away
    cursor: str
    end: _metrics_service_pb2.End
    evaluated: _timestamp_pb2.Timestamp
    forget_references: bool
    heartbeat: _metrics_service_pb2.Heartbeat
    late_samples: int
    synced: _metrics_service_pb2.Synced
    timeseries: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.TimeSeries]
    def __init__(self, timeseries: _Optional[_Iterable[_Union[_metrics_pb2.TimeSeries, _Mapping]]] = ..., cursor: _Optional[str] = ..., evaluated: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., annotations: _Optional[_Iterable[_Union[Annotation, _Mapping]]] = ..., late_samples: _Optional[int] = ..., synced: _Optional[_Union[_metrics_service_pb2.Synced, _Mapping]] = ..., heartbeat: _Optional[_Union[_metrics_service_pb2.Heartbeat, _Mapping]] = ..., end: _Optional[_Union[_metrics_service_pb2.End, _Mapping]] = ..., away: _Optional[_Union[_metrics_pb2.Away, _Mapping]] = ..., forget_references: bool = ...) -> None: ...

class ReadSeriesRequest(_message.Message):
    __slots__ = ["content", "max_time", "min_time", "reached", "selectors", "when_away"]
    class Content(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    CONTENT_EXEMPLARS: ReadSeriesRequest.Content
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_LABELS: ReadSeriesRequest.Content
    CONTENT_SAMPLES: ReadSeriesRequest.Content
    CONTENT_UNSPECIFIED: ReadSeriesRequest.Content
    MAX_TIME_FIELD_NUMBER: _ClassVar[int]
    MIN_TIME_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    SELECTORS_FIELD_NUMBER: _ClassVar[int]
    WHEN_AWAY_FIELD_NUMBER: _ClassVar[int]
    content: ReadSeriesRequest.Content
    max_time: int
    min_time: int
    reached: int
    selectors: _containers.RepeatedScalarFieldContainer[str]
    when_away: _metrics_pb2.WhenAway
    def __init__(self, selectors: _Optional[_Iterable[str]] = ..., min_time: _Optional[int] = ..., max_time: _Optional[int] = ..., content: _Optional[_Union[ReadSeriesRequest.Content, str]] = ..., when_away: _Optional[_Union[_metrics_pb2.WhenAway, str]] = ..., reached: _Optional[int] = ...) -> None: ...

class ReadSeriesResponse(_message.Message):
    __slots__ = ["end", "series"]
    END_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    end: _metrics_service_pb2.End
    series: _containers.RepeatedCompositeFieldContainer[StoredSeries]
    def __init__(self, series: _Optional[_Iterable[_Union[StoredSeries, _Mapping]]] = ..., end: _Optional[_Union[_metrics_service_pb2.End, _Mapping]] = ...) -> None: ...

class RuleFailure(_message.Message):
    __slots__ = ["error", "rule"]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    error: str
    rule: str
    def __init__(self, rule: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class StoredChunk(_message.Message):
    __slots__ = ["data", "encoding", "lags", "max_time", "min_time"]
    class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FLOAT_HISTOGRAM: StoredChunk.Encoding
    ENCODING_HISTOGRAM: StoredChunk.Encoding
    ENCODING_UNSPECIFIED: StoredChunk.Encoding
    ENCODING_XOR: StoredChunk.Encoding
    LAGS_FIELD_NUMBER: _ClassVar[int]
    MAX_TIME_FIELD_NUMBER: _ClassVar[int]
    MIN_TIME_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    encoding: StoredChunk.Encoding
    lags: bytes
    max_time: int
    min_time: int
    def __init__(self, encoding: _Optional[_Union[StoredChunk.Encoding, str]] = ..., min_time: _Optional[int] = ..., max_time: _Optional[int] = ..., data: _Optional[bytes] = ..., lags: _Optional[bytes] = ...) -> None: ...

class StoredPart(_message.Message):
    __slots__ = ["chunks", "max_time", "min_time"]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MAX_TIME_FIELD_NUMBER: _ClassVar[int]
    MIN_TIME_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[StoredChunk]
    max_time: int
    min_time: int
    def __init__(self, min_time: _Optional[int] = ..., max_time: _Optional[int] = ..., chunks: _Optional[_Iterable[_Union[StoredChunk, _Mapping]]] = ...) -> None: ...

class StoredSeries(_message.Message):
    __slots__ = ["exemplars", "labels", "parts"]
    EXEMPLARS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    exemplars: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.Exemplar]
    labels: _containers.RepeatedCompositeFieldContainer[_metrics_pb2.Label]
    parts: _containers.RepeatedCompositeFieldContainer[StoredPart]
    def __init__(self, labels: _Optional[_Iterable[_Union[_metrics_pb2.Label, _Mapping]]] = ..., parts: _Optional[_Iterable[_Union[StoredPart, _Mapping]]] = ..., exemplars: _Optional[_Iterable[_Union[_metrics_pb2.Exemplar, _Mapping]]] = ...) -> None: ...
