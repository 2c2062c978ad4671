{
  port: [[ .Port ]],
  mgmt_port: 8126,
  flushInterval: [[ .Container.GetCustomValue "flushInterval" ]],
[[- $graphite := .Container.Linked "graphite" ]]
[[- if not $graphite ]][[ $graphite = .Container.FirstLinked ]][[ end ]]
[[- with $graphite ]]
  graphiteHost: "[[ .Name ]]",
  graphitePort: 2003,
  backends: ["./backends/graphite"]
[[- else ]]
  backends: ["./backends/console"]
[[- end ]]
}
