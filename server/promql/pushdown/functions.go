package pushdown

// role is what a function is to series.
type role int

const (
	// whole functions see all series that there are, or may.
	whole role = iota + 1
	// single functions make of each series one value at most, and look at no other.
	single
	// scalars have no series, and are the same everywhere.
	scalars
	// choosing functions put series in order, by their values.
	choosing
	// absence is of what is not there.
	absence
	// unreadable functions read series that are not among their arguments, or depend on
	// more than the step.
	unreadable
)

// functions are all of the parser's.
var functions = map[string]role{
	"abs": single, "acos": single, "acosh": single, "asin": single, "asinh": single, "atan": single, "atanh": single,
	"avg_over_time": single, "ceil": single, "changes": single, "clamp": single, "clamp_max": single, "clamp_min": single,
	"cos": single, "cosh": single, "count_over_time": single, "day_of_month": single, "day_of_week": single,
	"day_of_year": single, "days_in_month": single, "deg": single, "delta": single, "deriv": single,
	"double_exponential_smoothing": single, "exp": single, "first_over_time": single, "floor": single,
	"histogram_avg": single, "histogram_count": single, "histogram_stddev": single, "histogram_stdvar": single,
	"histogram_sum": single, "hour": single, "idelta": single, "increase": single, "irate": single,
	"last_over_time": single, "ln": single, "log10": single, "log2": single, "mad_over_time": single,
	"max_over_time": single, "min_over_time": single, "minute": single, "month": single, "predict_linear": single,
	"present_over_time": single, "quantile_over_time": single, "rad": single, "rate": single, "resets": single,
	"round": single, "sgn": single, "sin": single, "sinh": single, "sqrt": single, "stddev_over_time": single,
	"stdvar_over_time": single, "sum_over_time": single, "tan": single, "tanh": single, "timestamp": single,
	"ts_of_first_over_time": single, "ts_of_last_over_time": single, "ts_of_max_over_time": single,
	"ts_of_min_over_time": single, "year": single,

	"max_of": scalars, "min_of": scalars, "pi": scalars, "time": scalars,

	// Those of labels may make one series of two.
	"label_join": whole, "label_replace": whole,
	// Those of histograms may look at all buckets of a classic one.
	"histogram_fraction": whole, "histogram_quantile": whole, "histogram_quantiles": whole,
	"scalar": whole, "sort_by_label": whole, "sort_by_label_desc": whole, "vector": whole,

	"sort": choosing, "sort_desc": choosing,
	"absent": absence,

	"absent_over_time": unreadable, "end": unreadable, "info": unreadable, "range": unreadable, "start": unreadable,
	"start_timestamp": unreadable, "step": unreadable,
}
