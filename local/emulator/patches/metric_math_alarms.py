"""Gap: an alarm on metric math cannot be created. This patch stores it as an alarm on the first of its metrics; the
emulator has no metrics of Lambda that it could evaluate."""

from ministack.services.cloudformation import provisioners


def apply() -> None:
    record = provisioners._cw_metric_alarm_record

    def patched_record(name, properties):
        queries = properties.get("Metrics")
        if queries:
            stat = next(query["MetricStat"] for query in queries if "MetricStat" in query)
            properties = {
                **{key: value for key, value in properties.items() if key != "Metrics"},
                **stat["Metric"],
                "Statistic": stat["Stat"],
                "Period": stat["Period"],
            }
        return record(name, properties)

    provisioners._cw_metric_alarm_record = patched_record
