package main

// administrators says where the administrator of the machine decides.
func administrators() places {
	return places{profiles: "/Library/Application Support/Adit/Profiles", instead: "the managed preferences com.adit.client"}
}
