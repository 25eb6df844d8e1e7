# Prints the latest sample of each series: ruby latest.rb HOST:PORT [SELECTOR…]
$LOAD_PATH.unshift File.join(Dir.pwd, "gen")
require "promgrpc/metrics/v1/metrics_service_services_pb"

metrics = Promgrpc::Metrics::V1
stub = metrics::MetricsService::Stub.new(ARGV.shift, :this_channel_is_insecure)
complete = false
stub.get_metrics(metrics::GetMetricsRequest.new(selectors: ARGV)).each do |response|
  response.timeseries.each do |series|
    labels = series.labels.map { |l| "#{l.name}=#{l.value.inspect}" }.join(",")
    series.samples.each { |sample| puts "{#{labels}} #{sample.value}" }
  end
  complete = response.event == :end
end
abort "the stream was cut off" unless complete
