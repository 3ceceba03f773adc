package main

// administrators says where the administrator of the machine decides.
func administrators() places {
	return places{profiles: "/etc/adit/profiles", policy: "/etc/adit/policy.json"}
}
