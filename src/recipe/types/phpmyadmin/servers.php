<?php
$cfg['Servers'] = [];
foreach ([
[[- $any := false ]]
[[- range .Container.Links ]]
[[- $server := $.Collection.Get . ]]
[[- if eq $server.Type "mysql" ]]
[[- $any = true ]]
    ['[[ . ]]', [[ $server.Port ]]],
[[- end ]]
[[- end ]]
[[- if not $any ]]
[[- with .Container.FirstLinked ]]
    ['[[ .Name ]]', [[ .GetFirstLocalPort 3306 ]]],
[[- end ]]
[[- end ]]
] as $number => [$host, $port]) {
    $cfg['Servers'][$number + 1] = [
        'host' => $host,
        'port' => (string) $port,
        'auth_type' => getenv('PHPMYADMIN_USER') ? 'config' : 'cookie',
        'user' => getenv('PHPMYADMIN_USER') ?: '',
        'password' => getenv('PHPMYADMIN_PASSWORD') ?: '',
        'AllowNoPassword' => true,
    ];
}
